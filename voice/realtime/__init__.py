"""The OpenAI Realtime wire protocol (GA names) without any I/O: server role, client role, one set of shapes."""
