"""What is known of each stage without its code: words, metrics and a chart."""
