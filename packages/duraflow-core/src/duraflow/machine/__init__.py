"""What does a step do, as a value?"""
