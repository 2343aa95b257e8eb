"""Road traffic fines: from the roadside to payment, appeal or credit collection. See README.md."""
