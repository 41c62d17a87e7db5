"""What every room may know: errors, configs, input specs, outputs, the registry."""
