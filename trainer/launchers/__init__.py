"""Where a training process runs, behind `port.Launcher`."""
