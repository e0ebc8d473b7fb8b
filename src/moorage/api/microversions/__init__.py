"""The microversions of the API: the only place that knows version numbers."""
