//! Shares and spread of the policies.
