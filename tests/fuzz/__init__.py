"""Whatever a peer, a page or a stranger may send: nothing raises but what says so."""
