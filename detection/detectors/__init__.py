"""Reference detectors: one file each, all of the shape of `detectors.base.Detector`; `detection.registry` lists them."""
