"""Breakers for GraphQL, one per operation, for any framework.

    app = GraphQLMiddleware(app, registry, path="/graphql")

All operations have one path, so that a breaker by route would refuse all because of one. Here the key
is the name of the operation, such as `GRAPHQL Orders`. An answer with status 200 that has errors and
no data is a failure, unless its errors are the client's.
"""

from recloser_adapters.graphql._asgi import GraphQLMiddleware
from recloser_adapters.graphql._keys import OperationKeys
from recloser_adapters.graphql._wsgi import WsgiGraphQLMiddleware

__all__ = ["GraphQLMiddleware", "OperationKeys", "WsgiGraphQLMiddleware"]
