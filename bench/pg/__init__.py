"""What does the runtime cost on PostgreSQL, beside the same statements sent by hand?"""
