"""What the operating system gives: one module a thing of the kernel's."""
