"""Review queues: traces that some users are asked to review, and the questions about them."""
