"""Text for people, URLs, ports: what every wing may use."""
