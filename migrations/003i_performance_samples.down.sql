DROP TABLE performance_samples;
