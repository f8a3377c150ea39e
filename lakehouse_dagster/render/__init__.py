"""Pure functions from a contract to every artefact the engines need."""
