//! Run directories, wire schemas, the record spool and tables.
