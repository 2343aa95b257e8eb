"""What is a workflow, as a value?"""
