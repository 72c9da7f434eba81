"""Sources of samples: a file per kind of counter or device, found by being here."""
