//! Limits and draining, over sockets of the kernel and in memory.
