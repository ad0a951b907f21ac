// Nothing, by as many blocks as are started: what starting costs.
KERNEL void launch_empty(void) {}
