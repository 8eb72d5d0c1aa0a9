"""Problems are small models and images whose nearest adversarials are known exactly."""
