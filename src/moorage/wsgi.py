"""``moorage.wsgi:application``, for uWSGI, mod_wsgi, Gunicorn or any other WSGI server.

The configuration is that of ``moorage serve``. Whom the server lets in is its own affair: here
noauth2 can only be warned of.
"""

from moorage.serve import load_process_app

application = load_process_app()
