//! The one error value of the request path: who failed, what, whether anything was sent.
