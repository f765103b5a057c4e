"""The same promises on real servers: real processes, real sockets."""
