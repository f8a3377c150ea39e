"""The native runtime: engines installed from package registries and run as loopback processes."""
