"""Upstream's service as a WSGI application in this process.

It keeps its database, its policy and what it has synchronised in module globals, so only one is
loaded at a time; loading the next one puts the last one away.
"""

import copy
import functools
import logging
import warnings
from pathlib import Path
from typing import Any

import jsonschema

from tests.support.client import WSGIApp


def load_peer(conf_path: Path) -> WSGIApp:
    """Upstream's application with this configuration, its schema and names in place."""
    from oslo_config import cfg
    from oslo_db.sqlalchemy import enginefacade
    from placement import conf, db_api, deploy, policies, policy
    from placement.objects import resource_class, trait
    from placement.wsgi import _set_middleware_defaults

    warnings.simplefilter("ignore")
    _check_schemas_once()
    config = cfg.ConfigOpts()
    conf.register_opts(config)
    _set_middleware_defaults()
    config([], project="placement", default_config_files=[str(conf_path)])
    # Alembic's and the service's own lines would bury a failing test's output.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("placement").setLevel(logging.CRITICAL)

    manager = enginefacade.transaction_context()
    manager.configure(**db_api._get_db_conf(config.placement_database))
    _put_away()
    db_api.placement_context_manager.patch_factory(manager)
    trait._TRAITS_SYNCED = False
    resource_class._RESOURCE_CLASSES_SYNCED = False
    policy.reset()
    # oslo.policy writes into the rules it is given, so it gets its own.
    policy.init(
        config, suppress_deprecation_warnings=True, rules=copy.deepcopy(policies.list_rules())
    )
    app: WSGIApp = deploy.loadapp(config)
    return app


@functools.cache
def _check_schemas_once() -> None:
    """Upstream checks its own schemas anew in each request, which takes a third of its time."""
    validator = jsonschema.validators.validator_for({})
    check = validator.check_schema
    # The schemas themselves are kept, so that no other can have the id of one.
    checked: dict[int, Any] = {}

    def check_once(schema: Any, *more: Any, **named: Any) -> None:
        if id(schema) not in checked:
            check(schema, *more, **named)
            checked[id(schema)] = schema

    validator.check_schema = check_once


def _put_away() -> None:
    from oslo_db import exception
    from placement import db_api

    try:
        db_api.placement_context_manager.writer.get_engine().dispose()
    except exception.CantStartEngineError:
        return
