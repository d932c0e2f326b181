"""An older home of `fsdp`."""
