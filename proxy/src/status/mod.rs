//! Health on 15021 and the status server on 15020.
