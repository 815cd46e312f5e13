//! HTTP as spoken to clients: codecs, header rules, local replies.
