//! The JSON shapes of networks, routers, policies, chains and of the REST API; a typed client.
