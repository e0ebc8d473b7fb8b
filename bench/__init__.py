"""Moorage beside a real openstack-placement: same machine, same run, same database, same fleet."""
