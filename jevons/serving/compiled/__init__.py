"""The data plane, compiled: all requests between two events of the control plane in one call.  Imported only to
serve.
"""
