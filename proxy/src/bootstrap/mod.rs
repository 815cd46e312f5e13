//! Arguments, environment and annotations as written, turned into settings as needed; nothing binds here.
