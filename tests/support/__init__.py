"""What tests share and is no test: servers, databases, small helpers."""
