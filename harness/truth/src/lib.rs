//! A scripted OpenAI-compatible server whose true timings are known.
