"""What does a step cost in Python alone, without a server?"""
