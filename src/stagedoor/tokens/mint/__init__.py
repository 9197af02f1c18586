"""Credentials of media servers and CDNs that verify themselves: one module for each form, pure functions.

None of these can be revoked, so whoever mints them sees to it that they are narrow and short (`service.mint`).
"""
