"""What tests build with: builders and golden files."""
