"""JSON documents: arrays and single objects, cut into lines."""
