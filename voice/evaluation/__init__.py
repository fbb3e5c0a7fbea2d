"""How well a configuration hears: recordings with references go through live sessions, and are scored."""
