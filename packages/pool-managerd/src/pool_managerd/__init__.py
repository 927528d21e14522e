"""The host daemon: inventories devices and supervises workers."""
