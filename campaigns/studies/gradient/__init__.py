"""The check of gradients against finite changes of the parameters."""
