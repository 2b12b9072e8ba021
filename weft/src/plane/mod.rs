//! The worker threads of this process, shared by its switches and routers.
