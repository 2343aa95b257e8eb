"""What can be said of a workflow before it runs?"""
