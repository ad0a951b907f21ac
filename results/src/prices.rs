//! What an hour of a device and a token of an API cost: rows with source and date.
