"""Networks whose bonds are cut until they have the properties wanted."""
