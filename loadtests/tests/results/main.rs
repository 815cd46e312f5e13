//! What becomes of recorded samples: summary, JSON, page, merged and compared reports.

mod compare;
mod merge;
mod page;
mod schema;
mod shopfront;
mod stages;
mod summary;
