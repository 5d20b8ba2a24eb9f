"""What a store promises, one module for each group of promises."""
