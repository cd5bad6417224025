"""What a topic is called: tokens, counts for every topic, c-TF-IDF keywords, BERTopic's own representations."""
