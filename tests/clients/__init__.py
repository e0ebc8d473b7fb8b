"""Real clients over HTTP: the openstack command line, and openstacksdk."""
