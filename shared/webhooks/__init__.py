"""What webhooks say, and which addresses they may reach."""
