//! The fixed chain of HTTP filters, decided per route.
